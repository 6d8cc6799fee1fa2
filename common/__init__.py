"""What `models`, `data` and `engine` all stand on. It imports none of them."""
