"""`python -m assets.builtin.recipe`; see make.py, whose functions the processes that train import by name."""

from assets.builtin.recipe.make import main

if __name__ == "__main__":
    main()
