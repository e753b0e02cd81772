/** The sources of the C project, which its context has in `src`: what is C in this repository is text in a test. */
export const C_SOURCES: Readonly<Record<string, string>> = {
  "main.c": String.raw`#include <string.h>

#include "server.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--check") == 0)
		return check(8080);
	return serve(8080, VERSION);
}
`,
  "server.c": String.raw`#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

static int open_at(unsigned short port, struct sockaddr_in *address)
{
	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return socket(AF_INET, SOCK_STREAM, 0);
}

int serve(unsigned short port, const char *version)
{
	struct sockaddr_in address;
	int listener = open_at(port, &address);

	if (bind(listener, (void *)&address, sizeof address) || listen(listener, 16)) {
		perror("listen");
		return 1;
	}
	printf("listening\n");
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		dprintf(client, "c %s uid %d\n", version, (int)getuid());
		close(client);
	}
}

int check(unsigned short port)
{
	struct sockaddr_in address;
	char answer[256];
	ssize_t length;
	int server = open_at(port, &address);

	if (connect(server, (void *)&address, sizeof address) || (length = read(server, answer, sizeof answer)) <= 0) {
		perror("check");
		return 1;
	}
	return write(1, answer, length) != length;
}
`,
  "server.h": String.raw`int serve(unsigned short port, const char *version);
int check(unsigned short port);
`,
};
