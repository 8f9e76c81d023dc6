"""What a user brings: the model, the data, the loss. And the tasks that come with the package."""
