"""Kimi K2: its pre-training is the study ``pretraining``."""
