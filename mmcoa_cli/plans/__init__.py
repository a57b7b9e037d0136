"""Plans: what is to be fetched, trained and tested, what of it is there, how long the rest takes, and doing it."""
