echo "Defaults noexec, requiretty, use_pty" > /etc/sudoers.d/zz-hardening
