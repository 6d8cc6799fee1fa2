"""A page in the browser that shows what a trained model sees in a picture: tools/explore.py."""
