cd /var/lib/mailman3/data; postmap hash:postfix_domains hash:postfix_lmtp
