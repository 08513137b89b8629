"""A customer's lists, as its spool keeps them."""
