"""Ten claims about batch size, each tested on a task."""
