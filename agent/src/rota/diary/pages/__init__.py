"""The diary's pages: a module of views for each, with templates of the same name."""
