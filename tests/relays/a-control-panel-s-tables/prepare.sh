for name in domains recipients clients access; do postmap /etc/postfix/panel-$name; done
