chmod 0750 /etc/postfix
