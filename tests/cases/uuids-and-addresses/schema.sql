-- only mariadb: these types are its own
CREATE TABLE u (id UUID PRIMARY KEY, other UUID, four INET4, six INET6);
