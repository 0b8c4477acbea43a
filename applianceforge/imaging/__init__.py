"""From a recipe to what a machine boots: root trees, and later images and bundles."""
