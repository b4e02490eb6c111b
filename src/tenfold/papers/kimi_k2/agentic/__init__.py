"""The agentic half of Kimi K2: synthesis of tasks and trajectories with tools, and rephrasing of texts."""
