"""Learning one network from two data sets that each label only a part."""
