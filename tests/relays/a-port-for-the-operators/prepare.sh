printf 'Match LocalPort 2222\n AllowUsers git\n' > /etc/ssh/sshd_config.d/zz.conf
