"""Files of weights as others write them: their tensors are read, and nothing that is in a file is run."""
