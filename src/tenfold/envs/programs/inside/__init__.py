"""The executor of probabilistic programs: numpy alone, because it also runs within the code sandbox."""
