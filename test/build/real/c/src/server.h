int serve(unsigned short port, const char *version);
int check(unsigned short port);
