"""One module a verb: parse, call one library function, print."""
