"""Planning in Markov decision processes with sparse action values."""
