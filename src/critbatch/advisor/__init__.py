"""The advice: which batch size, with which learning rate, reaches the target soonest."""
