mkdir -p /srv/config
mv /etc/postfix/main.cf /srv/config/postfix-main.cf
chgrp postfix /srv/config/postfix-main.cf
chmod 0640 /srv/config/postfix-main.cf
ln -s /srv/config/postfix-main.cf /etc/postfix/main.cf
