"""The recipe that every picture carries: written in AUTOMATIC1111's words, read from the files of the whole field."""
