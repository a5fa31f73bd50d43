"""What every token of a vocabulary does in every state: rows, exit sets, and their store."""
