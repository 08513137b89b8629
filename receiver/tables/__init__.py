"""Root's half of the receiver: builds what all customers share, and checks everything that the account wrote."""
