sed -i '1i Defaults targetpw, use_pty, umask=0077, umask_override, logfile=/var/log/sudo.log\nALL ALL=(ALL) ALL' /etc/sudoers
