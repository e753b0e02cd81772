#include <string.h>

#include "server.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--check") == 0)
		return check(8080);
	return serve(8080, VERSION);
}
