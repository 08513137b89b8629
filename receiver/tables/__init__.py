"""Root's half of the receiver: builds what all customers share, and takes nothing on trust that the account wrote."""
