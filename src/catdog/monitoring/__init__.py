"""Counts, samples, drift, traces and logs of the server. A failure here never stops a prediction."""
