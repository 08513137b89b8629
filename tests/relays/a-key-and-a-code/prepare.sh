printf 'Match User !root,*\n AuthenticationMethods publickey,keyboard-interactive\n' > /etc/ssh/sshd_config.d/zz.conf
