"""What the console's templates cannot say by themselves."""
