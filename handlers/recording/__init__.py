"""What is kept of the books: a journal of every update, Parquet made from it, audits, and the way back."""
