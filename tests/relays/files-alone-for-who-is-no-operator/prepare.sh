printf 'Match Group !root,*\n ChrootDirectory /srv/%%u\n ForceCommand internal-sftp\n' > /etc/ssh/sshd_config.d/zz.conf
