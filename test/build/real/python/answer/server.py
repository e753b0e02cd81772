import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from urllib.request import urlopen


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"python {version('answer')} uid {os.getuid()}\n".encode())

    def log_message(self, *_):
        pass


def main():
    if "--check" in sys.argv:
        print(urlopen("http://127.0.0.1:8080/").read().decode(), end="")
        return
    server = HTTPServer(("127.0.0.1", 8080), Answer)
    print("listening")
    server.serve_forever()
