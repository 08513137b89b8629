for name in relays directory exceptions; do postmap /etc/postfix/$name; done
