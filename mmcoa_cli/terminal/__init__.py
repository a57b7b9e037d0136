"""What a person sees and types: console, progress, errors, option types, the command line as text."""
