"""What a table is: its columns, its rows, and the features that linear models see of it."""
