/** EROFS on the disk: Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h. */

export const SUPER_OFFSET = 1024;
export const SUPER_SIZE = 128;
export const MAGIC = 0xe0f5e1e2;
/** A block is as long as tar's, so that contents of files begin at one. */
export const BLOCK_BITS = 9;
export const BLOCK_SIZE = 1 << BLOCK_BITS;

export const INCOMPAT_CHUNKED_FILE = 0x4;
export const INCOMPAT_DEVICE_TABLE = 0x8;

export const DEVICE_SLOT = 128;
/** A nid counts inode slots from the beginning of the image. */
export const INODE_SLOT = 32;
export const INODE_SIZE = 64;
/** i_format: bit 0 says extended, the next three how the data lie. */
export const EXTENDED = 1;
export const LAYOUT_PLAIN = 0 << 1;
export const LAYOUT_INLINE = 2 << 1;
export const LAYOUT_CHUNKS = 4 << 1;

/** i_u of a file in chunks: the chunk's size in bits beyond a block's, and that indexes name a device. */
export const CHUNK_INDEXES = 0x20;
export const CHUNK_BITS = 31;
export const CHUNK_SIZE = 2 ** (BLOCK_BITS + CHUNK_BITS);
export const CHUNK_INDEX = 8;

export const DIRENT = 12;
export const FILE_TYPE = { file: 1, directory: 2, char: 3, block: 4, fifo: 5, symlink: 7 } as const;

export const XATTR_HEADER = 12;
export const XATTR_ENTRY = 4;
/** e_name_index: prefixes that are not spelt out. The longest that fits comes first. */
export const XATTR_PREFIXES = [
  ["user.", 1],
  ["system.posix_acl_access", 2],
  ["system.posix_acl_default", 3],
  ["trusted.", 4],
  ["security.", 6],
] as const;
