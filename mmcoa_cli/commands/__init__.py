"""One module for each verb: parse, call one library function, print."""
