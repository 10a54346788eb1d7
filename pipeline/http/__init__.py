"""What the engines that call HTTP endpoints share: options, a client with kept-alive connections, errors, events."""
