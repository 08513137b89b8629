printf 'Match LocalPort 22\n DenyUsers postern\n' > /etc/ssh/sshd_config.d/zz.conf
