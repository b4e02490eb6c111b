"""Kimi K2's self-critique reward (section 3.2.2): a critic that compares pairs, and what is made of its comparisons."""
