# nexus_pg: Nexus operations from SQL.
#
# make, make install, make installcheck and make clean are what PGXS users
# expect.  make check and make demo install the packages they need, use a
# private server and leave nothing behind; make help lists all of them.

EXTENSION = nexus_pg
MODULE_big = nexus_pg
DATA = $(wildcard sql/nexus_pg--*.sql)
DOCS = README.md

LAYERS = protocol net shared store worker api
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c $(LAYERS:%=src/%/*.c)))

REGRESS = endpoint arguments privileges views
REGRESS_OPTS = --inputdir=. --outputdir=build/regress
ISOLATION = schedule await operation_key serializable
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=build/isolation

PG_CONFIG ?= pg_config
PKG_CONFIG ?= pkg-config

OWN_GOALS = check demo bench curves soak lint unit fuzz indent help
ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)
# PGXS has a "check" of its own that only says no.
.PHONY: $(OWN_GOALS)
$(filter-out help,$(OWN_GOALS)):
	@test/run $@
help:
	@sed -n 's/^## //p' test/run
else

PG_CPPFLAGS = -Isrc $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags libcurl jansson))
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs libcurl jansson)
PG_CFLAGS = -std=gnu99 -Wall -Wextra -Wno-unused-parameter $(WERROR)
EXTRA_CLEAN = build

LISTENER = src/listener/nexus_listener
all: $(LISTENER)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The server's headers are not ours to warn about.
override CPPFLAGS := $(patsubst -I$(includedir_server),-isystem $(includedir_server),$(CPPFLAGS))

# nexus_listener is a program without PostgreSQL: see src/README.md.
LISTENER_CFLAGS = -std=gnu99 -O2 -g -fstack-protector-strong -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter $(WERROR) \
	-Isrc $(shell $(PKG_CONFIG) --cflags libmicrohttpd jansson)
LISTENER_LIBS = $(shell $(PKG_CONFIG) --libs libmicrohttpd jansson)
LISTENER_SOURCES = $(wildcard src/listener/*.c src/protocol/*.c)
HEADERS_ALL = $(wildcard src/*.h src/*/*.h)

$(LISTENER): $(LISTENER_SOURCES) $(HEADERS_ALL)
	$(CC) $(LISTENER_CFLAGS) $(LDFLAGS) -o $@ $(LISTENER_SOURCES) $(LISTENER_LIBS)

$(OBJS): $(HEADERS_ALL)

install: install-listener
install-listener: $(LISTENER)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_PROGRAM) $(LISTENER) '$(DESTDIR)$(pkglibdir)/nexus_listener'

# Tests against a server that runs already need the module in it.
installcheck: installcheck-preloaded
installcheck-preloaded:
	@$(MKDIR_P) build/regress build/isolation
	@'$(bindir)/psql' -XAtqd postgres -c 'SHOW shared_preload_libraries' | grep -q nexus_pg || { \
		echo 'make installcheck needs a running server, named by PGHOST and PGPORT, that has preloaded nexus_pg.'; \
		echo 'Add to its postgresql.conf, and restart it:'; \
		echo "    shared_preload_libraries = 'nexus_pg'"; \
		echo '    max_worker_processes = 16'; \
		exit 1; }

uninstall: uninstall-listener
uninstall-listener:
	rm -f '$(DESTDIR)$(pkglibdir)/nexus_listener'

clean: clean-listener
clean-listener:
	rm -f $(LISTENER)

.PHONY: install-listener uninstall-listener clean-listener installcheck-preloaded
endif
