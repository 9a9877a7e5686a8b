"""New model files made of others: pickles converted, checkpoints merged."""
