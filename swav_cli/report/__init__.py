"""What a person looks at: console lines, tables and sheets of pictures."""
