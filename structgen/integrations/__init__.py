"""structgen inside other libraries."""
