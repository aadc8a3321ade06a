"""What merging needs for individuals of populations: segments, singular values, inner products."""
