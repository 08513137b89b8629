postmap /etc/postfix/senders
