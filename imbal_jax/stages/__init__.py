"""The stages of an experiment: each takes the setting and gives a trained or measured result for all lanes."""
