"""Tests mirror the folders; conftest gives every test its own data folder and blocks sockets beyond loopback."""
